// One terminal of a machine. xterm.js draws it, and is loaded with this file alone.

import "@xterm/xterm/css/xterm.css";
import { FitAddon } from "@xterm/addon-fit";
import { WebLinksAddon } from "@xterm/addon-web-links";
import { Terminal as Xterm } from "@xterm/xterm";
import { Button } from "antd";
import { useEffect, useRef, useState } from "react";
import type { Machine } from "../../api/shapes";
import { useWords } from "../../i18n";
import { TerminalLink, type LinkState } from "../../stores/terminalLink";
import { MONO_FONT } from "../../theme";

const THEME = {
  background: "#1b1714",
  foreground: "#ece5de",
  cursor: "#f0894d",
  selectionBackground: "#6b4a35",
  black: "#1b1714",
  brightBlack: "#8a8078",
};
const SCROLLED_LINES = 5000;
const AGAIN_MS = 2000;
const ALTERNATE_SCREEN = 1049;

interface Props {
  machine: Machine;
  shell: string;
  isShown?: boolean;
  /** The other shells that the machine keeps, told when this one opens. */
  onKept?: (names: string[]) => void;
  onEnd?: () => void;
  /** Told how to end this shell for good. */
  onKiller?: (kill: () => void) => void;
}

/** A shell in tmux never leaves the plain screen, so that the browser's own scrolling shows what went by. */
function stayOnPlainScreen(screen: Xterm, isWanted: () => boolean): void {
  for (const final of ["h", "l"]) {
    screen.parser.registerCsiHandler(
      { prefix: "?", final },
      (params) => isWanted() && params.includes(ALTERNATE_SCREEN),
    );
  }
}

/** Ctrl+C copies where something is selected, Ctrl+V and Ctrl+Shift+V paste; everything else is the shell's. */
function heedCopyKeys(screen: Xterm): void {
  screen.attachCustomKeyEventHandler((event) => {
    const isControl = event.ctrlKey && !event.altKey && !event.metaKey;
    const key = event.key.toLowerCase();
    if (isControl && key === "v") return false; // the browser pastes
    if (!isControl || key !== "c" || (!event.shiftKey && !screen.hasSelection())) return true;
    if (event.type === "keydown") {
      void navigator.clipboard?.writeText(screen.getSelection());
      screen.clearSelection();
      event.preventDefault();
    }
    return false;
  });
}

export function Terminal({ machine, shell, isShown = true, onKept, onEnd, onKiller }: Props) {
  const { text } = useWords();
  const words = text.machines.terminal;
  const frame = useRef<HTMLDivElement>(null);
  const parts = useRef<{ screen: Xterm; link: TerminalLink; fit: FitAddon } | null>(null);
  const told = useRef({ onKept, onEnd, onKiller });
  const [state, setState] = useState<LinkState>("connecting");
  const isRunning = machine.status === "running";
  useEffect(() => {
    told.current = { onKept, onEnd, onKiller };
  });

  useEffect(() => {
    if (!frame.current) return;
    let isKept = false;
    const screen = new Xterm({
      fontFamily: MONO_FONT,
      fontSize: 13,
      scrollback: SCROLLED_LINES,
      theme: THEME,
      cursorBlink: false,
    });
    const fit = new FitAddon();
    screen.loadAddon(fit);
    screen.loadAddon(new WebLinksAddon());
    screen.open(frame.current);
    stayOnPlainScreen(screen, () => isKept);
    heedCopyKeys(screen);
    const link = new TerminalLink(machine.key, shell, {
      onBytes: (bytes, shown) => screen.write(bytes, shown),
      onOpen: (kept) => {
        isKept = kept !== null;
        screen.reset(); // what was there is shown again by the shell that is come back to
        told.current.onKept?.(kept ?? []);
      },
      onState: (next) => {
        setState(next);
        if (next === "ended") told.current.onEnd?.();
      },
    });
    screen.onData((typed) => link.type(typed));
    screen.onBinary((typed) => link.type(Uint8Array.from(typed, (one) => one.charCodeAt(0))));
    screen.onResize(({ cols, rows }) => link.resize(cols, rows));
    fit.fit();
    link.resize(screen.cols, screen.rows);
    link.open();
    told.current.onKiller?.(() => link.kill());
    const watcher = new ResizeObserver(() => {
      if (frame.current?.clientHeight) fit.fit(); // one that is not shown has no size
    });
    watcher.observe(frame.current);
    parts.current = { screen, link, fit };
    return () => {
      watcher.disconnect();
      link.close();
      screen.dispose();
      parts.current = null;
    };
  }, [machine.key, shell]);

  useEffect(() => {
    if (isShown && state === "open") parts.current?.screen.focus();
  }, [isShown, state]);
  useEffect(() => {
    if (state !== "stopped" || !isRunning) return;
    // Started again meanwhile, or not heard yet that it stopped: asked now and then.
    const timer = setTimeout(() => parts.current?.link.open(), AGAIN_MS);
    return () => clearTimeout(timer);
  }, [state, isRunning]);

  const reopen = () => parts.current?.link.open();
  const says = words.state[state];
  return (
    <div className="terminal" hidden={!isShown}>
      <div className="terminal-screen" ref={frame} role="group" aria-label={words.label(shell)} />
      <div className="terminal-says" role="status">
        {state !== "open" && <span>{says}</span>}
        {(state === "idle" || state === "ended" || state === "waiting") && (
          <Button size="small" onClick={reopen}>
            {state === "ended" ? words.again : words.reconnect}
          </Button>
        )}
      </div>
    </div>
  );
}
