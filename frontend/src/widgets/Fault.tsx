// An error's face: what happened, what to do, and a code to quote.

import { Alert, Button } from "antd";
import { ApiError } from "../api/client";
import { useWords } from "../i18n";
import { sayError } from "../i18n/said";

interface Props {
  error: unknown;
  onRetry?: () => void;
}

export function Fault({ error, onRetry }: Props) {
  const { text } = useWords();
  const code = error instanceof ApiError ? error.code : "page";
  const title = code === "not_found" ? text.error.notFoundTitle : text.error.title;
  return (
    <Alert
      type="error"
      showIcon
      title={title}
      description={
        <>
          {sayError(text, error)} <span className="muted small mono">{text.error.code(code)}</span>
        </>
      }
      action={
        onRetry && code !== "not_found" ? (
          <Button onClick={onRetry}>{text.retry}</Button>
        ) : undefined
      }
    />
  );
}
