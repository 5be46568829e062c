// A window onto a log of any length: only the lines in view are in the page. It knows lines, not where they come from.

import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useLayoutEffect, useRef, type ReactNode, type UIEvent } from "react";
import { asShown, type LogStore } from "../stores/logStore";
import { useStore } from "../stores/useStore";

const LINE_HEIGHT = 20;
const AT_END = 12;

interface Props {
  log: LogStore;
  label: string;
  emptyText: string;
  lineLinkLabel: (line: number) => string;
  isFollowing: boolean;
  onFollow: (isFollowing: boolean) => void;
  isWrapped: boolean;
  highlight: string;
  /** A line to bring into view and to mark. */
  target: number | null;
  onLineClick: (line: number) => void;
}

export function LogView(props: Props) {
  const { log, isFollowing, isWrapped, target } = props;
  const { total } = useStore(log);
  const frame = useRef<HTMLDivElement>(null);
  const lastTop = useRef(0);
  // eslint-disable-next-line react-hooks/incompatible-library -- no compiler runs here
  const rows = useVirtualizer({
    count: total,
    getScrollElement: () => frame.current,
    estimateSize: () => LINE_HEIGHT,
    overscan: 30,
  });
  const items = rows.getVirtualItems();
  const first = items[0]?.index ?? 0;
  const last = items.at(-1)?.index ?? 0;

  useEffect(() => log.want(first, last));
  useEffect(() => rows.measure(), [isWrapped, rows]);
  useLayoutEffect(() => {
    const box = frame.current;
    if (isFollowing && box) box.scrollTop = box.scrollHeight;
  });
  useEffect(() => {
    if (target !== null && target < total) rows.scrollToIndex(target, { align: "center" });
    // Only a new target moves the view: lines that come later do not.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [target, rows]);

  // Our own scrolling only ever goes down: a move up is the reader's, and ends the following.
  const onScroll = (event: UIEvent<HTMLDivElement>) => {
    const { scrollTop, scrollHeight, clientHeight } = event.currentTarget;
    const isAtEnd = scrollHeight - scrollTop - clientHeight < AT_END;
    if (scrollTop < lastTop.current - 2 && !isAtEnd && isFollowing) props.onFollow(false);
    else if (isAtEnd && !isFollowing && scrollTop > lastTop.current) props.onFollow(true);
    lastTop.current = scrollTop;
  };
  const digits = String(total).length;
  return (
    <div
      ref={frame}
      className="log-scroll"
      role="log"
      aria-live="off"
      aria-label={props.label}
      tabIndex={0}
      onScroll={onScroll}
    >
      {total === 0 && (
        <p className="muted" style={{ padding: "10px 14px", margin: 0 }}>
          {props.emptyText}
        </p>
      )}
      <div style={{ height: rows.getTotalSize(), position: "relative", minWidth: "100%" }}>
        {items.map((item) => (
          <div
            key={item.index}
            ref={isWrapped ? rows.measureElement : undefined}
            data-index={item.index}
            className={`log-line${isWrapped ? " wrap" : ""}${item.index === target ? " target" : ""}`}
            style={{ transform: `translateY(${item.start}px)` }}
          >
            <button
              type="button"
              className="log-number"
              style={{ width: `calc(${digits}ch + 22px)` }}
              aria-label={props.lineLinkLabel(item.index + 1)}
              tabIndex={-1}
              onClick={() => props.onLineClick(item.index)}
            >
              {item.index + 1}
            </button>
            <span className="log-text">
              {marked(asShown(log.line(item.index) ?? "…"), props.highlight, item.index === target)}
            </span>
          </div>
        ))}
      </div>
    </div>
  );
}

function marked(line: string, wanted: string, isCurrent: boolean): ReactNode {
  if (!wanted) return line;
  const parts: ReactNode[] = [];
  const low = line.toLowerCase();
  const needle = wanted.toLowerCase();
  let from = 0;
  for (let at = low.indexOf(needle); at >= 0; at = low.indexOf(needle, from)) {
    const end = at + needle.length;
    parts.push(line.slice(from, at));
    parts.push(
      <mark key={at} className={isCurrent ? "current" : ""}>
        {line.slice(at, end)}
      </mark>,
    );
    from = end;
  }
  parts.push(line.slice(from));
  return parts;
}
