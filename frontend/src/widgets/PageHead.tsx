// The head of a page: its title (also the tab's), one line of what it is for, and its actions.

import type { ReactNode } from "react";
import { useTitle } from "./useTitle";

interface Props {
  title: string;
  heading?: ReactNode;
  lead?: ReactNode;
  actions?: ReactNode;
}

export function PageHead({ title, heading, lead, actions }: Props) {
  useTitle(title);
  return (
    <header className="page-head">
      <div className="titles">
        {heading ?? <h1>{title}</h1>}
        {lead && <div className="lead">{lead}</div>}
      </div>
      {actions && <div className="actions">{actions}</div>}
    </header>
  );
}
