// The machines that do the work, and whether each still speaks.

import { Progress } from "antd";
import { useQuery } from "@tanstack/react-query";
import { queries } from "../../api/queries";
import type { Node } from "../../api/shapes";
import { useWords } from "../../i18n";
import { DataTable } from "../../widgets/DataTable";
import { EmptyState } from "../../widgets/EmptyState";
import { Loaded } from "../../widgets/Loaded";
import { PageHead } from "../../widgets/PageHead";
import { RelativeTime } from "../../widgets/RelativeTime";
import { StateTag } from "../../widgets/StateTag";
import { DriveHealthPanel } from "./DriveHealthPanel";
import { SharePanel } from "./SharePanel";

function Meter({ value, most, said }: { value: number; most: number; said: string }) {
  return (
    <div style={{ minWidth: 120 }}>
      <Progress
        percent={Math.min(100, (100 * value) / most)}
        showInfo={false}
        size="small"
        aria-label={said}
      />
      <div className="muted small num">{said}</div>
    </div>
  );
}

export function NodesPage() {
  const { text, format } = useWords();
  const words = text.nodes;
  const { col } = words;
  const nodes = useQuery(queries.nodes());
  return (
    <div className="page">
      <PageHead title={words.title} lead={words.lead} />
      <div className="panel flush">
        <Loaded query={nodes}>
          {(list) => (
            <DataTable<Node>
              rowKey="name"
              dataSource={list}
              pagination={false}
              locale={{ emptyText: <EmptyState title={words.empty} text={words.emptyText} /> }}
              columns={[
                { title: col.name, dataIndex: "name", className: "mono" },
                {
                  title: col.state,
                  key: "state",
                  render: (_, node) => (
                    <StateTag
                      state={node.is_online ? "online" : "offline"}
                      word={node.is_online ? words.online : words.offline}
                    />
                  ),
                },
                {
                  title: col.room,
                  key: "room",
                  className: "num",
                  render: (_, node) =>
                    `${words.cores(node.cores)} · ${format.bytes(node.memory_bytes)}`,
                },
                {
                  title: col.devices,
                  key: "devices",
                  render: (_, node) =>
                    node.devices.length === 0 ? (
                      <span className="muted">{words.cpuOnly}</span>
                    ) : (
                      node.devices.map((device) => (
                        <div key={device.index}>
                          {device.name} · {format.bytes(device.memory_bytes)}
                        </div>
                      ))
                    ),
                },
                {
                  title: col.disk,
                  key: "disk",
                  align: "right",
                  className: "num",
                  render: (_, node) => format.bytes(node.disk_free_bytes),
                },
                {
                  title: col.cache,
                  key: "cache",
                  render: (_, node) =>
                    node.cache_limit_bytes > 0 && (
                      <Meter
                        value={node.cache_bytes}
                        most={node.cache_limit_bytes}
                        said={words.cache(
                          format.bytes(node.cache_bytes),
                          format.bytes(node.cache_limit_bytes),
                        )}
                      />
                    ),
                },
                { title: col.running, dataIndex: "num_running", align: "right", className: "num" },
                { title: col.version, dataIndex: "version", className: "mono" },
                {
                  title: col.seen,
                  key: "seen",
                  render: (_, node) =>
                    node.last_seen_at ? <RelativeTime iso={node.last_seen_at} /> : text.never,
                },
              ]}
            />
          )}
        </Loaded>
      </div>
      <SharePanel nodes={nodes.data ?? []} />
      <DriveHealthPanel />
    </div>
  );
}
