// Says to who was not let in how to come by a gated repo's files.

import { Alert, Button } from "antd";
import { useQueryClient } from "@tanstack/react-query";
import { post } from "../../api/client";
import { queries } from "../../api/queries";
import type { RepoDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { useAction } from "../useAction";

export function GateNotice({ repo }: { repo: RepoDetail }) {
  const { text } = useWords();
  const words = text.hub.manage;
  const { run, isBusy } = useAction();
  const cache = useQueryClient();
  if (repo.can.read) return null;
  const ask = () =>
    run(async () => {
      await post(`/api/${repo.kind}s/${repo.id}/ask-access`);
      await cache.invalidateQueries({ queryKey: queries.repo(repo.kind, repo.id).queryKey });
    });
  const said = {
    pending: words.asked,
    rejected: words.refused,
    accepted: "",
    none: repo.gate === "auto" ? words.gatedAuto : words.gated,
  }[repo.asked ?? "none"];
  return (
    <Alert
      type="info"
      showIcon
      style={{ marginBottom: 16 }}
      title={said}
      action={
        repo.asked === null && (
          <Button type="primary" loading={isBusy} onClick={() => void ask()}>
            {words.ask}
          </Button>
        )
      }
    />
  );
}
