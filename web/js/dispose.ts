/// <reference lib="esnext.disposable" preserve="true" />

/** `Symbol.dispose`, also where the browser lacks it; globals stay as they are. */
export const DISPOSE: typeof Symbol.dispose = Symbol.dispose ?? (Symbol.for('Symbol.dispose') as typeof Symbol.dispose);
