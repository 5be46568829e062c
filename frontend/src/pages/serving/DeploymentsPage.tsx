// Models that answer: their servers, which revision, the keys of applications, and what was used.

import { useQuery } from "@tanstack/react-query";
import { queries } from "../../api/queries";
import { useWords } from "../../i18n";
import { PageHead } from "../../widgets/PageHead";
import { UrlTabs } from "../UrlTabs";
import { KeysTab } from "./KeysTab";
import { RevisionsTab } from "./RevisionsTab";
import { ServersTab } from "./ServersTab";
import { UsesTab } from "./UsesTab";
import { useServingWords } from "./words";

export function DeploymentsPage() {
  const { text } = useWords();
  const words = useServingWords();
  const me = useQuery(queries.me()).data;
  const isOperator = me != null && me.role !== "member";
  const items = [
    { key: "servers", label: words.tabs.servers, children: <ServersTab isOperator={isOperator} /> },
    { key: "revisions", label: words.tabs.revisions, children: <RevisionsTab /> },
    { key: "keys", label: words.tabs.keys, children: <KeysTab /> },
    { key: "uses", label: words.tabs.uses, children: <UsesTab /> },
  ];
  return (
    <div className="page">
      <PageHead title={text.deployments.title} lead={text.deployments.lead} />
      <UrlTabs items={items.filter(({ key }) => isOperator || key !== "revisions")} />
    </div>
  );
}
