/**
 * Language models, and everything of `coreai-web`: one wasm module serves both.
 * @module
 */
import './language-engine.js';

export * from './api.js';
export type { ChatMessage, ChatPart, SamplingOptions, Turn, TurnFigures } from './host.js';
export { type ChatOptions, type ChatStream, LanguageModel } from './language-model.js';
