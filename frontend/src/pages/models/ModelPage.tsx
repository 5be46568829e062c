// One model: its card, files, revisions, lineage and provenance, and what can be done with it.

import { lazy, Suspense } from "react";
import { useQuery } from "@tanstack/react-query";
import { queries } from "../../api/queries";
import { FileZipOutlined, FireOutlined, MessageOutlined } from "../../widgets/icons";
import type { RepoDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { useQuantizeWords } from "../../i18n/quantizeWords";
import { LinkButton } from "../../widgets/LinkButton";
import { PageSkeleton } from "../../widgets/PageSkeleton";
import { RepoHead } from "../hub/RepoHead";
import { RepoLoaded } from "../hub/RepoLoaded";
import { Card } from "../hub/Card";
import { FilesTab } from "../hub/FilesTab";
import { HistoryTab } from "../hub/HistoryTab";
import { useRepo } from "../hub/useRepo";
import { UrlTabs } from "../UrlTabs";
import { Evaluations } from "./Evaluations";
import { Lineage } from "./Lineage";
import { ModelFactsPanel } from "./ModelFactsPanel";
import { Provenance } from "./Provenance";
import { readScores } from "./scores";

const ServingVerb = lazy(async () => ({
  default: (await import("../serving/ServingVerb")).ServingVerb,
}));
const QualityCard = lazy(async () => ({
  default: (await import("../quality/QualityCard")).QualityCard,
}));

export function ModelPage() {
  return <RepoLoaded query={useRepo("model")}>{(repo) => <ModelView repo={repo} />}</RepoLoaded>;
}

/** It scores answers: there is nothing to chat with. */
const isRewardModel = (repo: RepoDetail): boolean =>
  repo.task === "text-classification" || repo.metadata.pipeline_tag === "text-classification";

/** What this studio's engine can do with a model; a verb that would only be refused is not shown. */
function ModelVerbs({ repo }: { repo: RepoDetail }) {
  const { text } = useWords();
  const quantize = useQuantizeWords();
  const isAdapter = repo.role === "adapter";
  const base = isAdapter ? repo.base_model : repo.id;
  const me = useQuery(queries.me()).data;
  const maySet = repo.can.manage || (me != null && me.role !== "member");
  const isReward = isRewardModel(repo);
  const canRun = repo.can.read && (isAdapter ? Boolean(base) : repo.facts !== null);
  if (!canRun) return null;
  return (
    <>
      {!isReward && (
        <LinkButton
          to={`/playground?model=${encodeURIComponent(repo.id)}`}
          type="primary"
          icon={<MessageOutlined />}
        >
          {text.hub.chat}
        </LinkButton>
      )}
      {base && !(isReward && !isAdapter) && !repo.is_quantized && (
        <LinkButton to={`/launch?model=${encodeURIComponent(base)}`} icon={<FireOutlined />}>
          {text.hub.finetune}
        </LinkButton>
      )}
      {repo.role === "base" && !isReward && !repo.is_quantized && (
        <LinkButton
          to={`/launch?kind=quantize&model=${encodeURIComponent(repo.id)}`}
          icon={<FileZipOutlined />}
        >
          {quantize.button}
        </LinkButton>
      )}
      {repo.role === "base" && !isReward && maySet && (
        <Suspense>
          <ServingVerb model={repo.id} />
        </Suspense>
      )}
    </>
  );
}

function ModelView({ repo }: { repo: RepoDetail }) {
  const { text } = useWords();
  const { tab } = text.hub;
  const scores = readScores(repo.metadata);
  const quantize = useQuantizeWords();
  const tabs = [
    { key: "card", label: tab.card, children: <Card repo={repo} /> },
    ...(repo.quality
      ? [
          {
            key: "quality",
            label: quantize.tab,
            children: (
              <Suspense fallback={<PageSkeleton />}>
                <QualityCard report={repo.quality} />
              </Suspense>
            ),
          },
        ]
      : []),
    { key: "files", label: tab.files, children: <FilesTab repo={repo} /> },
    { key: "history", label: text.repo.history.tab, children: <HistoryTab repo={repo} /> },
    { key: "lineage", label: tab.lineage, children: <Lineage repo={repo} /> },
    ...(scores.length > 0
      ? [
          {
            key: "evaluations",
            label: text.finding.evaluations.tab,
            children: <Evaluations scores={scores} />,
          },
        ]
      : []),
    ...(repo.provenance
      ? [
          {
            key: "provenance",
            label: tab.provenance,
            children: <Provenance provenance={repo.provenance} />,
          },
        ]
      : []),
  ];
  return (
    <>
      <RepoHead repo={repo} verbs={<ModelVerbs repo={repo} />} />
      <div className="two">
        <UrlTabs items={tabs} />
        <ModelFactsPanel repo={repo} />
      </div>
    </>
  );
}
