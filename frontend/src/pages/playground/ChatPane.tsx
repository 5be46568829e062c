// One conversation on the screen: its turns, the prompt, and its settings.

import {
  ArrowUpOutlined,
  CodeOutlined,
  HistoryOutlined,
  RedoOutlined,
  SettingOutlined,
} from "../../widgets/icons";
import { Prompts, Sender } from "@ant-design/x";
import { Button, Drawer, Grid } from "antd";
import { useLayoutEffect, useMemo, useRef, useState } from "react";
import type { ChatMessage, Conversation } from "../../api/shapes";
import { useWords } from "../../i18n";
import { ConversationList } from "./ConversationList";
import { CodeDialog } from "./CodeDialog";
import { SettingsPanel } from "./SettingsPanel";
import { KeptTurn, StreamedTurn } from "./TurnView";
import { useChat } from "./useChat";
import { useChatSettings } from "./useChatSettings";

interface Props {
  conversation: Conversation | undefined;
  wished: string;
  onStart: (id: string) => void;
  onOpen: (id: string | null) => void;
}

function groupTurns(messages: readonly ChatMessage[]): ChatMessage[][] {
  const turns = new Map<number, ChatMessage[]>();
  for (const message of messages) {
    turns.set(message.turn, [...(turns.get(message.turn) ?? []), message]);
  }
  return [...turns.entries()].sort(([a], [b]) => a - b).map(([, group]) => group);
}

export function ChatPane({ conversation, wished, onStart, onOpen }: Props) {
  const { text } = useWords();
  const words = text.playground;
  const isWide = Grid.useBreakpoint().xl ?? true;
  const { settings, setSettings } = useChatSettings(conversation, wished);
  const { turn, isBusy, ask, stop } = useChat(onStart);
  const [prompt, setPrompt] = useState("");
  const [drawer, setDrawer] = useState<"" | "left" | "right">("");
  const [isCodeOpen, setIsCodeOpen] = useState(false);
  const kept = useMemo(() => groupTurns(conversation?.messages ?? []), [conversation]);
  // While a turn streams, the studio may already list it: it is shown once.
  const shown =
    turn && kept.at(-1)?.some((m) => m.role === "user" && m.content === turn.prompt) && isBusy
      ? kept.slice(0, -1)
      : kept;
  const lastPrompt = turn?.prompt ?? kept.at(-1)?.find((m) => m.role === "user")?.content ?? "";

  const submit = (value: string) => {
    if (!value.trim() || settings.models.length === 0 || isBusy) return;
    setPrompt("");
    void ask(conversation?.id ?? null, value.trim(), settings);
  };
  const list = <ConversationList activeId={conversation?.id ?? null} onOpen={onOpen} />;
  const panel = <SettingsPanel settings={settings} onChange={setSettings} />;
  return (
    <div className={isWide ? "playground" : "playground with-side-closed"}>
      <h1 className="visually-hidden">{words.title}</h1>
      {isWide && (
        <aside className="playground-side left" aria-label={words.conversations}>
          {list}
        </aside>
      )}
      <div className="playground-main">
        <ChatScroll tail={`${shown.length} ${isBusy}`}>
          {shown.length === 0 && !turn && <Hello onPick={submit} />}
          {shown.map((messages) => (
            <KeptTurn key={messages[0]?.turn} messages={messages} />
          ))}
          {turn && <StreamedTurn turn={turn} />}
        </ChatScroll>
        <div className="chat-foot">
          {settings.models.length === 0 && <p className="field-error">{words.pickModels}</p>}
          <Sender
            value={prompt}
            onChange={setPrompt}
            onKeyDown={(event) => {
              const isPlain = !event.shiftKey && !event.nativeEvent.isComposing;
              if (event.key !== "Enter" || !isPlain) return;
              event.preventDefault();
              submit(prompt);
              return false;
            }}
            placeholder={words.placeholder}
            autoSize={{ minRows: 2, maxRows: 8 }}
            aria-label={words.inputLabel}
            suffix={false}
            footer={() => (
              <div className="row between">
                <div className="row" style={{ gap: 2 }}>
                  {!isWide && (
                    <>
                      <Button
                        type="text"
                        icon={<HistoryOutlined />}
                        aria-label={words.conversations}
                        onClick={() => setDrawer("left")}
                      />
                      <Button
                        type="text"
                        icon={<SettingOutlined />}
                        aria-label={words.settings}
                        onClick={() => setDrawer("right")}
                      />
                    </>
                  )}
                  <Button
                    type="text"
                    icon={<RedoOutlined />}
                    disabled={isBusy || !lastPrompt}
                    aria-label={words.again}
                    onClick={() => submit(lastPrompt)}
                  >
                    {isWide && words.again}
                  </Button>
                  <Button
                    type="text"
                    icon={<CodeOutlined />}
                    aria-label={words.code}
                    onClick={() => setIsCodeOpen(true)}
                  >
                    {isWide && words.code}
                  </Button>
                </div>
                {isBusy ? (
                  <Button
                    shape="circle"
                    icon={<span className="stop-square" />}
                    aria-label={words.stop}
                    onClick={stop}
                  />
                ) : (
                  <Button
                    type="primary"
                    shape="circle"
                    icon={<ArrowUpOutlined />}
                    aria-label={words.send}
                    disabled={!prompt.trim() || settings.models.length === 0}
                    onClick={() => submit(prompt)}
                  />
                )}
              </div>
            )}
          />
        </div>
      </div>
      {isWide ? (
        <aside className="playground-side right" aria-label={words.settings}>
          {panel}
        </aside>
      ) : (
        <Drawer
          open={drawer !== ""}
          placement={drawer === "left" ? "left" : "right"}
          size={320}
          title={drawer === "left" ? words.conversations : words.settings}
          onClose={() => setDrawer("")}
        >
          {drawer === "left" ? list : panel}
        </Drawer>
      )}
      <CodeDialog
        isOpen={isCodeOpen}
        onClose={() => setIsCodeOpen(false)}
        prompt={prompt || lastPrompt}
        settings={settings}
      />
    </div>
  );
}

function Hello({ onPick }: { onPick: (prompt: string) => void }) {
  const { text } = useWords();
  const words = text.playground;
  return (
    <div style={{ maxWidth: 640, margin: "8vh auto 0", textAlign: "center" }}>
      <h2 style={{ fontSize: 22, fontWeight: 600, margin: 0 }}>{words.hello}</h2>
      <p className="muted">{words.helloText}</p>
      <Prompts
        wrap
        styles={{ list: { justifyContent: "center" }, item: { maxWidth: "100%" } }}
        items={words.tries.map((line) => ({ key: line, description: line }))}
        onItemClick={({ data }) => onPick(String(data.description))}
      />
    </div>
  );
}

/** Follows the newest words until the reader scrolls up. */
function ChatScroll({ tail, children }: { tail: string; children: React.ReactNode }) {
  const frame = useRef<HTMLDivElement>(null);
  const isFollowing = useRef(true);
  useLayoutEffect(() => {
    const box = frame.current;
    if (!box) return;
    isFollowing.current = true;
    box.scrollTop = box.scrollHeight;
  }, [tail]);
  useLayoutEffect(() => {
    const box = frame.current;
    const inner = box?.firstElementChild;
    if (!box || !inner) return;
    const observer = new ResizeObserver(() => {
      if (isFollowing.current) box.scrollTop = box.scrollHeight;
    });
    observer.observe(inner);
    return () => observer.disconnect();
  }, []);
  return (
    <div
      ref={frame}
      className="chat-scroll"
      tabIndex={0}
      role="log"
      aria-live="off"
      onScroll={({ currentTarget: box }) => {
        isFollowing.current = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
      }}
    >
      <div>{children}</div>
    </div>
  );
}
