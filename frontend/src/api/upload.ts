// A file upload with progress. XMLHttpRequest, because fetch cannot tell how much it has sent.

import { ApiError, csrfToken, toApiError } from "./client";

export interface UploadProgress {
  sent_bytes: number;
  total_bytes: number;
  bytes_per_s: number;
}

export function upload<T>(
  path: string,
  form: FormData,
  onProgress: (progress: UploadProgress) => void,
  signal?: AbortSignal,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const started = performance.now();
    request.open("POST", path);
    request.setRequestHeader("X-CSRFToken", csrfToken());
    request.setRequestHeader("Accept", "application/json");
    request.upload.onprogress = (event) => {
      const seconds = Math.max((performance.now() - started) / 1000, 0.001);
      const rate = event.loaded / seconds;
      onProgress({ sent_bytes: event.loaded, total_bytes: event.total, bytes_per_s: rate });
    };
    request.onload = () => {
      if (request.status >= 200 && request.status < 300)
        resolve(JSON.parse(request.responseText) as T);
      else reject(toApiError(request.status, request.responseText));
    };
    request.onerror = () => {
      const message = "The studio cannot be reached.";
      reject(new ApiError(0, { code: "unreachable", message, field: null, params: {} }));
    };
    request.onabort = () => reject(new DOMException("The upload was stopped.", "AbortError"));
    signal?.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}
