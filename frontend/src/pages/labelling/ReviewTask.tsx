// Review of one conversation: accept, reject, or rewrite its turns.

import { Alert, Button, Input } from "antd";
import { useState } from "react";
import type { LabellingDetail, LabelTurn, LabelWork } from "../../api/shapes";
import { useWords } from "../../i18n";
import { sayRow } from "../../i18n/said";
import { KeyButton } from "./KeyButton";
import { Turns } from "./Turns";
import { useKeys } from "./useKeys";
import type { Work } from "./useWork";

interface Props {
  project: LabellingDetail;
  row: LabelWork;
  work: Work;
}

interface Typed {
  messages?: LabelTurn[];
  reason?: string;
  from_draft?: boolean;
}

const EMPTY: LabelTurn[] = [
  { role: "user", content: "" },
  { role: "assistant", content: "" },
];

export function ReviewTask({ row, work }: Props) {
  const { text } = useWords();
  const words = text.labelling.work;
  const kept = (row.unsent ?? {}) as Typed;
  const [edit, setEdit] = useState<LabelTurn[] | null>(kept.messages ?? null);
  const [reason, setReason] = useState(kept.reason ?? row.reason);
  const [isDrafted, setIsDrafted] = useState(kept.from_draft ?? false);
  const shown = row.edited ?? row.messages ?? [];

  const type = (messages: LabelTurn[] | null, said = reason, fromDraft = isDrafted) => {
    setEdit(messages);
    setReason(said);
    setIsDrafted(fromDraft);
    work.keep({ ...(messages && { messages }), reason: said, from_draft: fromDraft });
  };
  const begin = () => type(edit ?? (shown.length ? shown : EMPTY));
  const takeDraft = () => {
    if (!row.draft || !row.messages) return;
    const last = row.messages.map((turn) => turn.role).lastIndexOf("assistant");
    const head = last < 0 ? row.messages : row.messages.slice(0, last);
    type([...head, { role: "assistant", content: row.draft.text }], reason, true);
  };
  const judge = (verdict: string) => work.send({ verdict, reason });
  const sendEdit = () => {
    if (edit)
      work.send({
        verdict: "edit",
        messages: edit,
        reason,
        ...(isDrafted && { from_draft: true }),
      });
  };
  useKeys(
    edit
      ? { Escape: () => type(null) }
      : {
          a: () => judge("accept"),
          r: () => judge("reject"),
          e: begin,
          d: row.draft ? takeDraft : undefined,
        },
  );
  return (
    <>
      <section
        className="panel"
        onKeyDown={(event) => {
          if (edit && event.key === "Enter" && (event.ctrlKey || event.metaKey)) sendEdit();
          if (edit && event.key === "Escape") type(null);
        }}
      >
        {edit ? (
          <EditTurns turns={edit} onChange={type} />
        ) : (
          <>
            {row.edited && <div className="muted small">{words.edited}</div>}
            {shown.length > 0 ? (
              <Turns turns={shown} />
            ) : (
              <div className="code-block" tabIndex={0} role="region" aria-label={words.original}>
                {row.raw}
              </div>
            )}
            {row.problems.map((problem) => {
              const said = sayRow(text, problem);
              return (
                <Alert
                  key={`${problem.code} ${problem.field}`}
                  type="warning"
                  showIcon
                  style={{ marginTop: 8 }}
                  title={`${said.problem} ${said.mend}`}
                />
              );
            })}
          </>
        )}
      </section>
      {row.draft && row.draft.text && !edit && (
        <section className="panel" style={{ margin: 0 }}>
          <div className="row between">
            <h2 className="section-title" style={{ margin: 0 }}>
              {words.draft(row.draft.model)}
            </h2>
            <KeyButton size="small" hint="D" onClick={takeDraft}>
              {words.useDraft}
            </KeyButton>
          </div>
          <div className="label-said">{row.draft.text}</div>
        </section>
      )}
      <Input
        aria-label={words.reason}
        placeholder={`${words.reason} (${text.optional})`}
        maxLength={4000}
        value={reason}
        onChange={(event) => type(edit, event.target.value)}
      />
      <div className="label-bar">
        {edit ? (
          <>
            <Button type="primary" loading={work.isBusy} onClick={sendEdit}>
              {words.sendEdit} <span className="kbd">Ctrl ↵</span>
            </Button>
            <Button onClick={() => type(null)}>{text.cancel}</Button>
            <span className="muted small">{words.kept}</span>
          </>
        ) : (
          <>
            <KeyButton
              hint="A"
              type="primary"
              disabled={work.isBusy}
              onClick={() => judge("accept")}
            >
              {words.accept}
            </KeyButton>
            <KeyButton hint="R" danger disabled={work.isBusy} onClick={() => judge("reject")}>
              {words.reject}
            </KeyButton>
            <KeyButton hint="E" disabled={work.isBusy} onClick={begin}>
              {words.edit}
            </KeyButton>
          </>
        )}
      </div>
    </>
  );
}

function EditTurns({
  turns,
  onChange,
}: {
  turns: LabelTurn[];
  onChange: (turns: LabelTurn[]) => void;
}) {
  const { text } = useWords();
  return (
    <div className="stack">
      {turns.map((turn, index) => {
        const role = text.hub.viewer.role[turn.role] ?? turn.role;
        return (
          <label key={index}>
            <span className="muted small">{role}</span>
            <Input.TextArea
              aria-label={text.labelling.work.turn(String(index + 1), role)}
              autoFocus={index === turns.length - 1}
              autoSize={{ minRows: 2, maxRows: 18 }}
              value={turn.content}
              onChange={(event) =>
                onChange(
                  turns.map((old, at) =>
                    at === index ? { ...old, content: event.target.value } : old,
                  ),
                )
              }
            />
          </label>
        );
      })}
    </div>
  );
}
