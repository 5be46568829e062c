// A row as it stands in the file, for who has to settle it.

import { useQuery } from "@tanstack/react-query";
import { queries } from "../../api/queries";
import type { LabellingDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { Loaded } from "../../widgets/Loaded";
import { Turns } from "./Turns";

export function DisputedRow({ project, row }: { project: LabellingDetail; row: number }) {
  const { text } = useWords();
  const words = text.labelling.work;
  const source = useQuery(queries.labelRow(project.id, row));
  return (
    <Loaded query={source}>
      {(data) => (
        <div style={{ marginTop: 10 }}>
          {(data.messages ?? data.prompt) && <Turns turns={data.messages ?? data.prompt ?? []} />}
          {data.answers.map((answer, index) => (
            <div key={index} className="turn assistant">
              <div className="who">{text.labelling.verdict[index === 0 ? "first" : "second"]}</div>
              <div className="said">{answer}</div>
            </div>
          ))}
          {data.text !== null && <div className="label-said">{data.text}</div>}
          {data.raw !== null && (
            <div className="code-block" tabIndex={0} role="region" aria-label={words.original}>
              {data.raw}
            </div>
          )}
        </div>
      )}
    </Loaded>
  );
}
