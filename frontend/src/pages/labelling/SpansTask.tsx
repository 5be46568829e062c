// Tags spans of a text: select words and press a label, or find words and tag each place.

import { App, Button, Input, Select } from "antd";
import { useRef, useState, type CSSProperties } from "react";
import type { LabellingDetail, LabelSpan, LabelWork } from "../../api/shapes";
import { useWords } from "../../i18n";
import { addSpans, findAll, isSame, spanOf, textOf } from "../../stores/spans";
import { DeleteOutlined } from "../../widgets/icons";
import { KeyButton } from "./KeyButton";
import { hueOf, SpanText } from "./SpanText";
import { useKeys } from "./useKeys";
import type { Work } from "./useWork";

interface Props {
  project: LabellingDetail;
  row: LabelWork;
  work: Work;
}

export function SpansTask({ project, row, work }: Props) {
  const { text } = useWords();
  const words = text.labelling.work;
  const { labels } = project;
  const source = row.text ?? "";
  const kept = row.unsent?.spans as LabelSpan[] | undefined;
  const [spans, setSpans] = useState<LabelSpan[]>(kept ?? row.spans);
  const [isDrafted, setIsDrafted] = useState(false);
  const selected = useRef<[number, number] | null>(null);

  const change = (next: LabelSpan[]) => {
    setSpans(next);
    work.keep({ spans: next });
  };
  const tag = (label: string) => {
    const span = selected.current && spanOf(source, ...selected.current, label);
    if (!span) return;
    change(addSpans(spans, [span]));
    window.getSelection()?.removeAllRanges();
    selected.current = null;
  };
  const takeDraft = () => {
    if (!row.draft) return;
    setIsDrafted(true);
    change(addSpans(spans, row.draft.spans));
  };
  const send = () =>
    work.send({ verdict: "tagged", spans, ...(isDrafted && { from_draft: true }) });
  useKeys({
    Enter: send,
    d: row.draft?.spans.length ? takeDraft : undefined,
    ...Object.fromEntries(
      labels.slice(0, 9).map((label, index) => [String(index + 1), () => tag(label)]),
    ),
  });
  return (
    <>
      <section className="panel">
        <p className="muted small" style={{ marginTop: 0 }}>
          {words.spans.help}
        </p>
        <SpanText
          text={source}
          spans={spans}
          labels={labels}
          onSelect={(from, to) => {
            selected.current = from < to ? [from, to] : null;
          }}
        />
        <div className="row" style={{ marginTop: 12 }}>
          {labels.map((label, index) => (
            <KeyButton
              key={label}
              size="small"
              hint={index < 9 ? String(index + 1) : ""}
              onMouseDown={(event) => event.preventDefault()} // the selection stays
              onClick={() => tag(label)}
            >
              <span
                className="label-swatch"
                style={{ "--hue": hueOf(index) } as CSSProperties}
                aria-hidden="true"
              />
              {label}
            </KeyButton>
          ))}
        </div>
        <FindWords
          source={source}
          labels={labels}
          onFound={(more) => change(addSpans(spans, more))}
        />
        {row.draft && row.draft.spans.length > 0 && (
          <KeyButton size="small" hint="D" style={{ marginTop: 12 }} onClick={takeDraft}>
            {words.useSpans(String(row.draft.spans.length))}
          </KeyButton>
        )}
      </section>
      <section className="panel" style={{ margin: 0 }}>
        <h2 className="section-title">{words.spans.list}</h2>
        {spans.length === 0 && <span className="muted small">{words.spans.none}</span>}
        <ul className="label-spans" style={{ margin: 0, paddingLeft: 18 }}>
          {spans.map((span) => (
            <li key={`${span.start} ${span.end} ${span.label}`}>
              <strong>{span.label}</strong>{" "}
              <span className="label-said">{textOf(source, span)}</span>{" "}
              <span className="muted small num">
                {span.start}–{span.end}
              </span>
              <Button
                type="text"
                size="small"
                icon={<DeleteOutlined />}
                aria-label={words.spans.remove(span.label, textOf(source, span).slice(0, 40))}
                onClick={() => change(spans.filter((other) => !isSame(other, span)))}
              />
            </li>
          ))}
        </ul>
      </section>
      <div className="label-bar">
        <KeyButton hint="Enter" type="primary" loading={work.isBusy} onClick={send}>
          {words.spans.send}
        </KeyButton>
      </div>
    </>
  );
}

interface FindProps {
  source: string;
  labels: readonly string[];
  onFound: (spans: LabelSpan[]) => void;
}

/** For the keyboard and for phones, where selecting words is hard. */
function FindWords({ source, labels, onFound }: FindProps) {
  const { text } = useWords();
  const words = text.labelling.work.spans;
  const { message } = App.useApp();
  const [wanted, setWanted] = useState("");
  const [label, setLabel] = useState(labels[0] ?? "");
  return (
    <form
      className="row"
      style={{ marginTop: 12 }}
      onSubmit={(event) => {
        event.preventDefault();
        const found = findAll(source, wanted, label);
        if (found.length) onFound(found);
        else void message.info(words.notFound);
        setWanted("");
      }}
    >
      <span className="muted small">{words.find}</span>
      <Input
        size="small"
        style={{ width: 200 }}
        aria-label={words.words}
        value={wanted}
        onChange={(event) => setWanted(event.target.value)}
      />
      <Select
        size="small"
        style={{ minWidth: 110 }}
        aria-label={text.labelling.form.labels}
        value={label}
        onChange={setLabel}
        options={labels.map((each) => ({ value: each, label: each }))}
      />
      <Button size="small" htmlType="submit" disabled={!wanted}>
        {words.tag}
      </Button>
    </form>
  );
}
