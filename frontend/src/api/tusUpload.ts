// One file to the drive by tus, which goes on where it was after a cut, a restart or a reload.

import { DetailedError, Upload, defaultOptions } from "tus-js-client";
import { csrfToken, toApiError } from "./client";
import type { SendFile } from "../stores/uploadStore";

const ENDPOINT = "/api/drive/uploads/";
// Proxies bound a request; less would cost round trips, more would be sent again after a cut.
const CHUNK_BYTES = 32 * 2 ** 20;
const RETRY_MS = [300, 1000, 2000, 4000, 8000, 15_000, 30_000, 30_000, 60_000, 60_000, 60_000];
const PREFIX = "athanor-drive";

export const sendFile: SendFile = (item, hear) => {
  const { file, folder, relativePath } = item;
  const upload = new Upload(file, {
    endpoint: ENDPOINT,
    chunkSize: CHUNK_BYTES,
    retryDelays: RETRY_MS,
    metadata: { filename: file.name, relativePath, folder, filetype: file.type },
    removeFingerprintOnSuccess: true,
    fingerprint: () =>
      Promise.resolve(
        [PREFIX, folder, relativePath, String(file.size), String(file.lastModified)].join("|"),
      ),
    onBeforeRequest: (request) => request.setHeader("X-CSRFToken", csrfToken()),
    onShouldRetry: (error) => {
      const status = error.originalResponse?.getStatus() ?? 0;
      const isWorthIt = status === 0 || status === 409 || status === 423 || status >= 500;
      if (isWorthIt) hear.retrying();
      return isWorthIt;
    },
    onProgress: (sent) => hear.progress(sent),
    onSuccess: () => hear.done(),
    onError: (error) => {
      const response = error instanceof DetailedError ? error.originalResponse : null;
      hear.failed(toApiError(response?.getStatus() ?? 0, response?.getBody() ?? ""));
    },
  });
  const start = async () => {
    const [before] = await upload.findPreviousUploads();
    if (before) upload.resumeFromPreviousUpload(before);
    upload.start();
  };
  void start();
  return {
    pause: () => void upload.abort(false),
    resume: () => upload.start(),
    stop: () => void upload.abort(true),
  };
};

/** How many uploads a closed tab or a crash left behind, and a way to forget them. */
export async function findInterrupted(): Promise<{ num: number; forget: () => Promise<void> }> {
  const storage = defaultOptions.urlStorage;
  const all = (await storage.findAllUploads()).filter((one) =>
    (one.urlStorageKey ?? "").includes(PREFIX),
  );
  return {
    num: all.length,
    forget: async () => {
      for (const one of all) await storage.removeUpload(one.urlStorageKey);
    },
  };
}
