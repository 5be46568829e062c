// What a check of a dataset found: the numbers, and each bad row with its line, field and mend.

import { CheckCircleFilled, CloseCircleFilled } from "./icons";

import type { DatasetReport, RowProblem } from "../api/shapes";
import { useWords } from "../i18n";
import { sayRow } from "../i18n/said";
import { Figure } from "./Figure";
import { DataTable } from "./DataTable";

export function ReportView({ report }: { report: DatasetReport }) {
  const { text, format } = useWords();
  const words = text.hub.report;
  const isGood = report.num_bad === 0;
  return (
    <div className="stack" data-testid="report">
      <span
        className={isGood ? "state good" : "state bad"}
        style={{ whiteSpace: "normal" }}
        role="status"
      >
        {isGood ? <CheckCircleFilled /> : <CloseCircleFilled />}
        {isGood
          ? words.allGood
          : words.someBad(format.number(report.num_bad), format.number(report.num_rows))}
      </span>
      <div className="figures">
        <Figure label={words.good} value={format.number(report.num_good)} />
        <Figure label={words.bad} value={format.number(report.num_bad)} />
        <Figure label={words.tokens} value={format.compact(report.num_tokens_estimate)} />
        <Figure
          label={words.learnt}
          value={format.compact(report.num_supervised_tokens_estimate)}
        />
        <Figure label={words.longest} value={format.number(report.longest_tokens_estimate)} />
      </div>
      {report.problems.length > 0 && (
        <>
          {report.num_problems > report.problems.length && (
            <p className="muted small" style={{ margin: 0 }}>
              {words.first(
                format.number(report.problems.length),
                format.number(report.num_problems),
              )}
            </p>
          )}
          <DataTable<RowProblem>
            size="small"
            rowKey={(row) => `${row.line} ${row.field} ${row.code}`}
            dataSource={report.problems}
            pagination={{ pageSize: 10, hideOnSinglePage: true, showSizeChanger: false }}
            columns={[
              { title: words.line, dataIndex: "line", className: "num", align: "right" },
              {
                title: words.field,
                key: "field",
                render: (_, row) => (
                  <span className={row.field ? "mono" : "muted"}>
                    {row.field || words.wholeLine}
                  </span>
                ),
              },
              {
                title: words.problem,
                key: "problem",
                render: (_, row) => sayRow(text, row).problem,
              },
              { title: words.mend, key: "mend", render: (_, row) => sayRow(text, row).mend },
            ]}
          />
        </>
      )}
    </div>
  );
}
