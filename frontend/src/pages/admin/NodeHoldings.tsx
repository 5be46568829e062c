// What is on a node: jobs, model servers and machines, the stopped ones too, each with a way to it.

import { Link } from "react-router";
import type { Node, NodeHolding } from "../../api/shapes";
import { useWords } from "../../i18n";
import { sayFlavor } from "../../i18n/told";
import { DataTable } from "../../widgets/DataTable";
import { StateTag } from "../../widgets/StateTag";
import { useIsNarrow } from "../machines/useIsNarrow";

export function NodeHoldings({ node }: { node: Node }) {
  const { text, language } = useWords();
  const words = text.nodes;
  const { col } = words;
  const isNarrow = useIsNarrow();
  if (node.holdings.length === 0) return <p className="muted small">{words.nothing}</p>;
  return (
    <>
      <h3>{words.holdings}</h3>
      <DataTable<NodeHolding>
        size="small"
        scroll={isNarrow ? {} : { x: "max-content" }}
        rowKey={(held) => held.kind + held.id}
        dataSource={node.holdings}
        pagination={{ pageSize: 10, hideOnSinglePage: true, showSizeChanger: false }}
        columns={[
          {
            title: col.what,
            key: "kind",
            responsive: ["md"],
            render: (_, held) => words.kind[held.kind],
          },
          {
            title: col.name,
            key: "name",
            render: (_, held) => (
              <div className={isNarrow ? "break" : "words"}>
                <Link to={held.kind === "machine" ? `/machines/${held.id}` : `/jobs/${held.id}`}>
                  {held.name}
                </Link>
                {isNarrow && (
                  <div className="muted small">
                    {words.kind[held.kind]} · {held.owner}
                  </div>
                )}
              </div>
            ),
          },
          { title: col.owner, dataIndex: "owner", responsive: ["md"] },
          {
            title: col.flavor,
            key: "flavor",
            responsive: ["md"],
            render: (_, held) => sayFlavor(language, held.flavor),
          },
          { title: col.state, key: "state", render: (_, held) => <HeldState held={held} /> },
        ]}
      />
    </>
  );
}

function HeldState({ held }: { held: NodeHolding }) {
  const { text } = useWords();
  if (!held.is_going) return <StateTag state="stopped" word={text.nodes.stoppedHere} />;
  const names: Record<string, string> =
    held.kind === "machine" ? text.machines.status : text.status;
  const isUp = held.kind === "machine" && held.status === "running";
  return (
    <StateTag state={isUp ? "online" : held.status} word={names[held.status] ?? held.status} />
  );
}
