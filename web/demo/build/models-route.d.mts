import type { Plugin } from 'vite';
export function modelsRoute(): Plugin;
