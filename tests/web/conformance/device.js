// A device with everything its adapter has.

let shared;

/** One device for all cases, and another after it was lost. */
export function device() {
	shared ??= (async () => {
		const adapter = await navigator.gpu.requestAdapter();
		if (!adapter) throw new Error('no WebGPU adapter');
		const requiredLimits = {};
		for (const name of [
			'maxBufferSize', 'maxStorageBufferBindingSize', 'maxStorageBuffersPerShaderStage', 'maxComputeInvocationsPerWorkgroup',
			'maxComputeWorkgroupSizeX', 'maxComputeWorkgroupSizeY', 'maxComputeWorkgroupSizeZ', 'maxComputeWorkgroupStorageSize',
			'maxComputeWorkgroupsPerDimension',
		]) requiredLimits[name] = adapter.limits[name];
		const requiredFeatures = ['subgroups', 'shader-f16', 'timestamp-query'].filter((feature) => adapter.features.has(feature));
		const made = await adapter.requestDevice({ requiredLimits, requiredFeatures });
		made.lost.then(() => { shared = undefined; });
		return made;
	})();
	return shared;
}

