export type { AdapterInfo, FunctionDescriptor, MemoryUse, Port } from './descriptors.js';
export type { DType, TensorData, Values } from './dtype.js';
export {
	AbortedError, AssetError, CoreAIError, DeviceLostError, InputError, IntegrityError, LanguageError, NetworkError, NoAdapterError,
	OutOfMemoryError, StorageQuotaError, UnsupportedError,
} from './errors.js';
export { AIModel, InferenceFunction, type RunOptions } from './model.js';
export type { LoadOptions } from './options.js';
export type { LoadProgress } from './progress.js';
export type { Report, ReportEntry } from './report.js';
export type { ModelSource } from './source.js';
export { States } from './states.js';
export { storage, type StorageEstimate, type StoredModel } from './storage.js';
export { DeviceTensor, Tensor, type TensorInput } from './tensor.js';
