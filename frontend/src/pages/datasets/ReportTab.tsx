// Whether every row can be learnt from, and the press that leaves the bad ones out.

import { App, Button } from "antd";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { post } from "../../api/client";
import { queries } from "../../api/queries";
import type { RepoDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { Loaded } from "../../widgets/Loaded";
import { ReportView } from "../../widgets/ReportView";
import { isHead } from "../hub/useRepo";
import { useAction } from "../useAction";

/** What a revision without the bad rows can be made of: one file of lines. */
const isOneFile = (repo: RepoDetail): boolean =>
  repo.files.filter(({ path }) => path.endsWith(".jsonl")).length === 1;

export function ReportTab({ repo }: { repo: RepoDetail }) {
  const { text, format } = useWords();
  const words = text.hub.report;
  const { modal } = App.useApp();
  const { run, isBusy } = useAction();
  const cache = useQueryClient();
  const report = useQuery({
    ...queries.report(repo.id, repo.revision),
    initialData: repo.report ?? undefined,
  });

  const keep = () =>
    modal.confirm({
      title: words.keepTitle,
      content: words.keepText(format.number(report.data?.num_bad ?? 0)),
      okText: words.keep,
      onOk: () =>
        run(async () => {
          await post<RepoDetail>(`/api/hub/repos/dataset/${repo.id}/keep-good-rows/`);
          await Promise.all(
            [["repo", "dataset", repo.id], ["rows", repo.id], ["report", repo.id], ["repos"]].map(
              (queryKey) => cache.invalidateQueries({ queryKey }),
            ),
          );
        }, words.kept),
    });
  return (
    <div className="panel">
      <Loaded query={report}>
        {(data) => (
          <>
            <ReportView report={data} />
            {repo.is_mine &&
              isHead(repo) &&
              data.num_bad > 0 &&
              data.num_good > 0 &&
              isOneFile(repo) &&
              data.share === 1 && (
                <Button type="primary" style={{ marginTop: 16 }} loading={isBusy} onClick={keep}>
                  {words.keep}
                </Button>
              )}
          </>
        )}
      </Loaded>
    </div>
  );
}
