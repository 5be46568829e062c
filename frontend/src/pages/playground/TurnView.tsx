// One turn of a conversation: the prompt, and the answers side by side.

import { Bubble } from "@ant-design/x";
import type { ReactNode } from "react";
import type { ChatMessage } from "../../api/shapes";
import { useWords } from "../../i18n";
import type { ChatTurn } from "../../stores/chatTurn";
import { useStore } from "../../stores/useStore";
import { Answer } from "./Answer";

function TurnFrame({
  prompt,
  numSides,
  children,
}: {
  prompt: string;
  numSides: number;
  children: ReactNode;
}) {
  const { text } = useWords();
  return (
    <section className="chat-turn">
      <Bubble
        placement="end"
        content={prompt}
        contentRender={() => <span style={{ whiteSpace: "pre-wrap" }}>{prompt}</span>}
        aria-label={text.playground.you}
        role="group"
      />
      <div
        className={numSides === 1 ? "chat-sides single" : "chat-sides"}
        tabIndex={numSides > 1 ? 0 : undefined}
        role={numSides > 1 ? "group" : undefined}
        aria-label={numSides > 1 ? text.playground.models : undefined}
      >
        {children}
      </div>
    </section>
  );
}

/** A turn that the studio keeps. */
export function KeptTurn({ messages }: { messages: readonly ChatMessage[] }) {
  const prompt = messages.find((message) => message.role === "user");
  const answers = messages
    .filter((message) => message.role === "assistant")
    .sort((a, b) => a.side - b.side);
  return (
    <TurnFrame prompt={prompt?.content ?? ""} numSides={answers.length}>
      {answers.map((answer) => (
        <Answer
          key={answer.id}
          model={answer.model ?? ""}
          text={answer.content}
          state={answer.state}
          error={answer.error ? { code: "", message: answer.error } : null}
          numbers={answer}
        />
      ))}
    </TurnFrame>
  );
}

/** The turn that streams now; it alone renders with each frame. */
export function StreamedTurn({ turn }: { turn: ChatTurn }) {
  const { sides, prompt } = useStore(turn);
  return (
    <TurnFrame prompt={prompt} numSides={sides.length}>
      {sides.map((side, index) => (
        <Answer
          key={index}
          model={side.model}
          text={side.text}
          state={side.state}
          error={side.error}
          numbers={side.message}
        />
      ))}
    </TurnFrame>
  );
}
