// The shape of a page that is still on its way.

import { Skeleton } from "antd";
import { useWords } from "../i18n";

export function PageSkeleton() {
  const { text } = useWords();
  return (
    <div className="page" role="status" aria-busy="true">
      <span className="visually-hidden">{text.loading}</span>
      <Skeleton active title={{ width: 220 }} paragraph={{ rows: 1, width: 380 }} />
      <div className="panel" style={{ marginTop: 20 }}>
        <Skeleton active title={false} paragraph={{ rows: 6 }} />
      </div>
    </div>
  );
}
