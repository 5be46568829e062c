// What the card's `model-index` says the model scored; rows that are none are passed over.

import { useWords } from "../../i18n";
import { DataTable } from "../../widgets/DataTable";
import { type Score } from "./scores";

export function Evaluations({ scores }: { scores: Score[] }) {
  const { text } = useWords();
  const words = text.finding.evaluations;
  return (
    <div className="panel flush">
      <DataTable<Score>
        rowKey="key"
        dataSource={scores}
        pagination={{ pageSize: 50, hideOnSinglePage: true }}
        columns={[
          { title: words.task, dataIndex: "task" },
          { title: words.dataset, dataIndex: "dataset" },
          { title: words.metric, dataIndex: "metric" },
          { title: words.value, dataIndex: "value", align: "right", className: "num" },
        ]}
      />
    </div>
  );
}
