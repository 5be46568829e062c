// What is on a node: jobs, model servers and machines, the stopped ones too, each with a way to it.

import { Link } from "react-router";
import type { Node, NodeHolding } from "../../api/shapes";
import { useWords } from "../../i18n";
import { DataTable } from "../../widgets/DataTable";
import { StateTag } from "../../widgets/StateTag";

export function NodeHoldings({ node }: { node: Node }) {
  const { text } = useWords();
  const words = text.nodes;
  const { col } = words;
  if (node.holdings.length === 0) return <p className="muted small">{words.nothing}</p>;
  return (
    <>
      <h3>{words.holdings}</h3>
      <DataTable<NodeHolding>
        size="small"
        rowKey={(held) => held.kind + held.id}
        dataSource={node.holdings}
        pagination={{ pageSize: 10, hideOnSinglePage: true, showSizeChanger: false }}
        columns={[
          { title: col.what, key: "kind", render: (_, held) => words.kind[held.kind] },
          {
            title: col.name,
            key: "name",
            render: (_, held) => (
              <Link to={held.kind === "machine" ? `/machines/${held.id}` : `/jobs/${held.id}`}>
                {held.name}
              </Link>
            ),
          },
          { title: col.owner, dataIndex: "owner" },
          { title: col.flavor, dataIndex: "flavor", responsive: ["md"] },
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
  return <StateTag state={held.status} word={names[held.status] ?? held.status} />;
}
