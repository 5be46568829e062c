// Starts the dashboard: the cache of what the studio said, and the tree of pages.

import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./App";
import { ApiError } from "./api/client";
import "./styles/index.css";

const isHopeless = (error: unknown) =>
  error instanceof ApiError && error.status >= 400 && error.status < 500;

const cache = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      retry: (numFailures, error) => !isHopeless(error) && numFailures < 3,
    },
  },
});

// Any answer that says "not signed in" means the session has ended: the shell then shows the sign-in page.
cache.getQueryCache().subscribe((event) => {
  if (event.type !== "updated" || event.action.type !== "error") return;
  const error: unknown = event.action.error;
  if (error instanceof ApiError && error.status === 401) cache.setQueryData(["me"], null);
});

const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <QueryClientProvider client={cache}>
        <App />
      </QueryClientProvider>
    </StrictMode>,
  );
}
