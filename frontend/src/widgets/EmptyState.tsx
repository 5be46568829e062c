// What a list says when it has nothing: what would be here, and the first thing to do.

import type { ReactNode } from "react";

interface Props {
  title: string;
  text?: string;
  action?: ReactNode;
}

export function EmptyState({ title, text, action }: Props) {
  return (
    <div style={{ padding: "40px 20px", textAlign: "center" }}>
      <div style={{ color: "var(--ink)", fontSize: 16, fontWeight: 600 }}>{title}</div>
      {text && (
        <p className="muted" style={{ maxWidth: "52ch", margin: "6px auto 0" }}>
          {text}
        </p>
      )}
      {action && <div style={{ marginTop: 16 }}>{action}</div>}
    </div>
  );
}
