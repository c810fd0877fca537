/** A choice or fallback that was made. */
export interface ReportEntry {
	/** Stable name, such as `no_webgpu` or `storage_quota`. */
	code: string;
	/** What was found and what was done. */
	message: string;
	/** Whether it costs speed, precision or safety. */
	fallback: boolean;
}

/** How a model runs: a JSON document with a schema version, as `coreai-run --report` prints it. */
export interface Report {
	schema_version: number;
	compute_unit: string;
	/** Name of the adapter; `null` on the CPU unit. */
	device: string | null;
	precision: string;
	/** Every choice and fallback, those of download and storage included. */
	entries: ReportEntry[];
}
