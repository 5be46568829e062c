// A piece of code to read and to copy.

import { CopyButton } from "./CopyButton";

export function CodeBlock({ code, label }: { code: string; label: string }) {
  return (
    <div className="code-frame">
      <CopyButton text={code} size="small" />
      <div className="code-block" tabIndex={0} role="region" aria-label={label}>
        {code}
      </div>
    </div>
  );
}
