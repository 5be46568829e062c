// One number that matters, with its name above and a remark below.

import type { ReactNode } from "react";

interface Props {
  label: ReactNode;
  value: ReactNode;
  note?: ReactNode;
  isBig?: boolean;
}

export function Figure({ label, value, note, isBig = false }: Props) {
  return (
    <div className="figure">
      <div className="label">{label}</div>
      <div className={isBig ? "value big" : "value"}>{value}</div>
      {note && <div className="muted small">{note}</div>}
    </div>
  );
}
