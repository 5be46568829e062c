// A piece of code to read and to copy.

import { CopyButton } from "./CopyButton";

interface Props {
  code: string;
  label: string;
  /** One long word, all of which is to be seen. */
  isWrapped?: boolean;
}

export function CodeBlock({ code, label, isWrapped = false }: Props) {
  return (
    <div className="code-frame">
      <CopyButton text={code} size="small" />
      <div
        className={isWrapped ? "code-block wrapped" : "code-block"}
        tabIndex={0}
        role="region"
        aria-label={label}
      >
        {code}
      </div>
    </div>
  );
}
