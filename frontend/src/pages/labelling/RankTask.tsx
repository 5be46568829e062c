// Which of two answers is better? They stand in an order that differs from person to person.

import { Input, Tag } from "antd";
import { useState } from "react";
import type { LabellingDetail, LabelWork } from "../../api/shapes";
import { useWords } from "../../i18n";
import { KeyButton } from "./KeyButton";
import { Turns } from "./Turns";
import { useKeys } from "./useKeys";
import type { Work } from "./useWork";

interface Props {
  project: LabellingDetail;
  row: LabelWork;
  work: Work;
}

const VERDICTS = [
  ["first", "1"],
  ["second", "2"],
  ["tie", "T"],
  ["both_bad", "B"],
] as const;

export function RankTask({ row, work }: Props) {
  const { text } = useWords();
  const words = text.labelling.work;
  const [reason, setReason] = useState(
    ((row.unsent?.reason as string | undefined) ?? row.reason) || "",
  );
  const judge = (verdict: string) => work.send({ verdict, reason });
  useKeys(Object.fromEntries(VERDICTS.map(([v, key]) => [key.toLowerCase(), () => judge(v)])));
  return (
    <>
      <section className="panel">
        <h2 className="section-title">{words.question}</h2>
        {row.prompt ? (
          <Turns turns={row.prompt} />
        ) : (
          <div className="code-block" tabIndex={0} role="region" aria-label={words.original}>
            {row.raw}
          </div>
        )}
      </section>
      <div className="label-pair">
        {row.answers.map((answer, index) => (
          <section
            key={index}
            className={
              row.verdict === (index === 0 ? "first" : "second") ? "panel chosen" : "panel"
            }
          >
            <h2 className="section-title">
              {words.answer(String(index + 1))}{" "}
              {row.drafted[index] && <Tag variant="filled">{words.byModel}</Tag>}
            </h2>
            <div className="label-said">{answer}</div>
          </section>
        ))}
      </div>
      <Input
        aria-label={words.reason}
        placeholder={`${words.reason} (${text.optional}). ${words.reasonHelp}`}
        maxLength={4000}
        value={reason}
        onChange={(event) => {
          setReason(event.target.value);
          work.keep({ reason: event.target.value });
        }}
      />
      <div className="label-bar">
        {VERDICTS.map(([verdict, key]) => (
          <KeyButton
            key={verdict}
            hint={key}
            type={key === "1" || key === "2" ? "primary" : "default"}
            disabled={work.isBusy}
            onClick={() => judge(verdict)}
          >
            {words[verdict]}
          </KeyButton>
        ))}
      </div>
    </>
  );
}
