// One answer: who gave it, its text as Markdown, its state, and its tokens and speed.

import { Bubble } from "@ant-design/x";
import { Spin } from "antd";
import { useWords } from "../../i18n";
import { sayProblem } from "../../i18n/said";
import type { ChatMessage } from "../../api/shapes";
import type { SideState } from "../../stores/chatTurn";
import { CopyButton } from "../../widgets/CopyButton";
import { LazyMarkdown } from "../../widgets/LazyMarkdown";

interface Props {
  model: string;
  text: string;
  state: SideState;
  error: { code: string; message: string } | null;
  numbers: Pick<ChatMessage, "num_tokens" | "tokens_per_s" | "first_token_ms"> | null;
}

export function Answer({ model, text: answer, state, error, numbers }: Props) {
  const { text, format } = useWords();
  const words = text.playground;
  const isWaiting = state === "waiting" || state === "starting";
  const stats: string[] = [];
  if (numbers?.num_tokens && numbers.tokens_per_s) {
    stats.push(
      words.stats(format.number(numbers.num_tokens), format.number(numbers.tokens_per_s, 1)),
    );
  }
  if (numbers?.first_token_ms) stats.push(words.firstToken(format.number(numbers.first_token_ms)));
  return (
    <article className="answer" data-state={state} data-model={model}>
      <div className="answer-head">
        <span className="mono ellipsis" title={model}>
          {model}
        </span>
      </div>
      <Bubble
        variant="outlined"
        styles={{ content: { width: "100%", boxSizing: "border-box" }, body: { width: "100%" } }}
        content={answer}
        contentRender={() =>
          isWaiting && !answer ? (
            <span className="row muted">
              <Spin size="small" /> {words.state[state]}
            </span>
          ) : (
            <>
              {answer && <LazyMarkdown text={answer} />}
              {error && (
                <div className="field-error" role="alert">
                  {sayProblem(text, { ...error, params: {} }) || words.state.failed}
                </div>
              )}
              {!answer && !error && <span className="muted">{words.state[state]}</span>}
            </>
          )
        }
      />
      <div className="answer-foot num">
        {(state === "stopped" || state === "failed") && <span>{words.state[state]}</span>}
        {stats.map((line) => (
          <span key={line}>{line}</span>
        ))}
        {answer && !isWaiting && <CopyButton text={answer} label={words.copy} size="small" />}
      </div>
    </article>
  );
}
