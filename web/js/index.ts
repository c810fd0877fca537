/**
 * Runs Core AI model assets (`.aimodel`) in the browser.
 * @module
 */
import './core-engine.js';

export * from './api.js';
