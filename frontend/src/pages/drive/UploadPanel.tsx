// The uploads, in a corner of every page: rate, progress, pause, and what a closed tab left behind.

import { Button, Progress } from "antd";
import { useEffect, useState } from "react";
import { useWords } from "../../i18n";
import { sayError } from "../../i18n/said";
import { uploadStore, type UploadItem } from "../../stores/uploadStore";
import { useStore } from "../../stores/useStore";
import {
  CloseCircleFilled,
  DownOutlined,
  PauseCircleOutlined,
  PlayCircleOutlined,
  UpOutlined,
} from "../../widgets/icons";
import "./drive.css";

const SHOWN = 100;

function useLeaveWarning(isBusy: boolean) {
  useEffect(() => {
    if (!isBusy) return;
    const warn = (event: BeforeUnloadEvent) => event.preventDefault();
    window.addEventListener("beforeunload", warn);
    return () => window.removeEventListener("beforeunload", warn);
  }, [isBusy]);
}

function UploadLine({ item }: { item: UploadItem }) {
  const { text, format } = useWords();
  const words = text.drive.uploads;
  const { size } = item.file;
  const percent = size ? Math.floor((item.sentBytes / size) * 100) : 100;
  const said = {
    waiting: words.waiting,
    sending: words.rate(
      format.bytes(item.sentBytes),
      format.bytes(size),
      format.bytes(item.bytesPerS),
    ),
    retrying: words.retrying,
    paused: words.paused,
    done: words.done,
    failed: words.failed,
  }[item.state];
  const left = item.bytesPerS > 0 ? (size - item.sentBytes) / item.bytesPerS : 0;
  const isPaused = item.state === "paused" || item.state === "failed";
  return (
    <li className="upload-line" data-state={item.state}>
      <div className="row between">
        <span className="ellipsis grow" title={item.relativePath}>
          {item.relativePath}
        </span>
        {item.state !== "done" && item.state !== "waiting" && (
          <Button
            size="small"
            type="text"
            aria-label={`${isPaused ? words.resume : words.pause}: ${item.relativePath}`}
            icon={isPaused ? <PlayCircleOutlined /> : <PauseCircleOutlined />}
            onClick={() => (isPaused ? uploadStore.resume(item.id) : uploadStore.pause(item.id))}
          />
        )}
        {item.state !== "done" && (
          <Button
            size="small"
            type="text"
            aria-label={`${words.stop}: ${item.relativePath}`}
            icon={<CloseCircleFilled />}
            onClick={() => uploadStore.stop(item.id)}
          />
        )}
      </div>
      <Progress
        percent={item.state === "done" ? 100 : percent}
        size="small"
        showInfo={false}
        status={item.state === "failed" ? "exception" : "normal"}
        aria-label={item.relativePath}
      />
      <div className="muted small num">
        {said}
        {left > 1 && item.state === "sending" && ` · ${words.left(format.duration(left))}`}
        {item.state === "failed" && ` · ${sayError(text, item.error)}`}
      </div>
    </li>
  );
}

export function UploadPanel() {
  const { text } = useWords();
  const words = text.drive.uploads;
  const { items, numLiving } = useStore(uploadStore);
  const [isFolded, setIsFolded] = useState(() => window.innerWidth < 600); // it would cover the page
  useLeaveWarning(numLiving > 0);
  if (items.length === 0) return null;
  // What goes on first, then what failed, then what is done.
  const order = ["sending", "retrying", "paused", "failed", "waiting", "done"];
  const sorted = [...items].sort((a, b) => order.indexOf(a.state) - order.indexOf(b.state));
  return (
    <section className="upload-panel" aria-label={words.title(0)} data-testid="uploads">
      <div className="row between">
        <strong aria-live="polite">{words.title(numLiving)}</strong>
        <span>
          {numLiving < items.length && (
            <Button size="small" type="link" onClick={() => uploadStore.clearEnded()}>
              {words.clear}
            </Button>
          )}
          <Button
            size="small"
            type="text"
            aria-label={isFolded ? words.unfold : words.fold}
            icon={isFolded ? <UpOutlined /> : <DownOutlined />}
            onClick={() => setIsFolded(!isFolded)}
          />
        </span>
      </div>
      {!isFolded && (
        <ul>
          {sorted.slice(0, SHOWN).map((item) => (
            <UploadLine key={item.id} item={item} />
          ))}
        </ul>
      )}
    </section>
  );
}
