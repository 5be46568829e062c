// One of three faces of what a page asked for: its skeleton, its error, or itself.

import type { UseQueryResult } from "@tanstack/react-query";
import { Skeleton } from "antd";
import type { ReactNode } from "react";
import { Fault } from "./Fault";

interface Props<T> {
  query: UseQueryResult<T>;
  skeleton?: ReactNode;
  children: (data: T) => ReactNode;
}

export function Loaded<T>({ query, skeleton, children }: Props<T>) {
  if (query.data !== undefined) return <>{children(query.data)}</>;
  if (query.isError) return <Fault error={query.error} onRetry={() => void query.refetch()} />;
  return (
    <div role="status" aria-busy="true">
      {skeleton ?? <Skeleton active style={{ padding: 20 }} paragraph={{ rows: 5 }} />}
    </div>
  );
}
