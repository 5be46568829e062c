// What a check of a dataset found: the numbers, and each bad row with its line, field and mend.

import { CheckCircleFilled, CloseCircleFilled } from "./icons";

import type { DatasetReport, RowProblem } from "../api/shapes";
import { useWords } from "../i18n";
import { training as english } from "../i18n/en/training";
import { training as chinese } from "../i18n/zh/training";
import { sayRow } from "../i18n/said";
import { Figure } from "./Figure";
import { DataTable } from "./DataTable";

export function ReportView({ report }: { report: DatasetReport }) {
  const { text, format, language } = useWords();
  const { report: more, format: formats } = language === "zh" ? chinese : english;
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
      {report.share < 1 && (
        <p className="muted small" style={{ margin: 0 }}>
          {more.part(report.share < 0.01 ? "< 1 %" : format.percent(report.share))}
        </p>
      )}
      <div className="figures">
        <Figure
          label={more.format}
          value={report.formats.map((name) => formats[name] ?? name).join(", ")}
        />
        {report.num_files > 1 && (
          <Figure label={more.files} value={format.number(report.num_files)} />
        )}
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
            rowKey={(row) => `${row.file ?? ""} ${row.line} ${row.field} ${row.code}`}
            dataSource={report.problems}
            pagination={{ pageSize: 10, hideOnSinglePage: true, showSizeChanger: false }}
            columns={[
              ...(report.num_files > 1
                ? [{ title: more.file, dataIndex: "file", className: "mono" }]
                : []),
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
