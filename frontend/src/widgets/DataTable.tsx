// A table that is wider than its place scrolls within itself, by keyboard too.

import { Table, type TableProps } from "antd";
import { useEffect, useRef } from "react";

export function DataTable<Row extends object>(props: TableProps<Row>) {
  const frame = useRef<HTMLDivElement>(null);
  useEffect(() => {
    // The kit makes the part that scrolls and gives no way to name it.
    frame.current?.querySelector(".ant-table-content")?.setAttribute("tabindex", "0");
  });
  return (
    <div ref={frame}>
      <Table<Row> scroll={{ x: "max-content" }} {...props} />
    </div>
  );
}
