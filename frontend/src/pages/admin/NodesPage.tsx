// The machines that do the work: whether each speaks, what it has, and what is on it, as it changes.

import { Button } from "antd";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { nodeQueries } from "../../api/nodeQueries";
import { queries } from "../../api/queries";
import type { Me } from "../../api/shapes";
import { useWords } from "../../i18n";
import { EmptyState } from "../../widgets/EmptyState";
import { PlusOutlined } from "../../widgets/icons";
import { Loaded } from "../../widgets/Loaded";
import { PageHead } from "../../widgets/PageHead";
import { NotFoundPage } from "../shell/NotFoundPage";
import { DriveHealthPanel } from "./DriveHealthPanel";
import { JoinDialog } from "./JoinDialog";
import { NodeCard } from "./NodeCard";
import { SharePanel } from "./SharePanel";

export function NodesPage() {
  const { data: me } = useQuery(queries.me());
  if (!me) return null;
  return me.role === "member" ? <NotFoundPage /> : <NodesView me={me} />;
}

function NodesView({ me }: { me: Me }) {
  const { text } = useWords();
  const words = text.nodes;
  const nodes = useQuery(nodeQueries.list());
  const [isJoining, setIsJoining] = useState(false);
  const add = me.can.administer && (
    <Button type="primary" icon={<PlusOutlined />} onClick={() => setIsJoining(true)}>
      {words.join.button}
    </Button>
  );
  return (
    <div className="page">
      <PageHead title={words.title} lead={words.lead} actions={add} />
      <Loaded query={nodes}>
        {(list) =>
          list.length === 0 ? (
            <EmptyState title={words.empty} text={words.emptyText} />
          ) : (
            list.map((node) => (
              <NodeCard key={node.name} node={node} mayAdminister={me.can.administer} />
            ))
          )
        }
      </Loaded>
      {me.can.administer && <JoinDialog isOpen={isJoining} onClose={() => setIsJoining(false)} />}
      <SharePanel nodes={nodes.data ?? []} />
      <DriveHealthPanel />
    </div>
  );
}
