// Ctrl-K: go anywhere, make anything, switch language or theme, without the mouse.

import { Input, Modal } from "antd";
import { useEffect, useMemo, useState, type KeyboardEvent, type ReactNode } from "react";
import { useNavigate } from "react-router";
import { useChoices } from "../../App";
import type { Me } from "../../api/shapes";
import { useWords } from "../../i18n";
import { destinationsFor } from "./destinations";

const OPEN = "athanor:palette";
export const openPalette = (): boolean => window.dispatchEvent(new Event(OPEN));

interface Command {
  id: string;
  group: string;
  name: string;
  icon?: ReactNode;
  run: () => void;
}

function useCommands(me: Me): Command[] {
  const { text } = useWords();
  const { language, theme, choose } = useChoices();
  const navigate = useNavigate();
  return useMemo(() => {
    const { palette, language: tongues, theme: themes } = text.shell;
    const go = (path: string) => () => void navigate(path);
    const other = language === "zh" ? "en" : "zh";
    const isDark = theme === "dark";
    return [
      { id: "launch", group: palette.create, name: text.jobs.launch, run: go("/launch") },
      {
        id: "upload",
        group: palette.create,
        name: text.hub.datasets.upload,
        run: go("/datasets/new"),
      },
      { id: "import", group: palette.create, name: text.imports.title, run: go("/imports") },
      { id: "chat", group: palette.create, name: text.playground.new, run: go("/playground") },
      { id: "token", group: palette.create, name: text.profile.makeToken, run: go("/profile") },
      ...destinationsFor(me, text).map((place) => ({
        id: place.path,
        group: palette.goTo,
        name: place.name,
        icon: place.icon,
        run: go(place.path),
      })),
      { id: "profile", group: palette.goTo, name: text.profile.title, run: go("/profile") },
      {
        id: "language",
        group: palette.switch,
        name: tongues[other],
        run: () => choose({ language: other }),
      },
      {
        id: "theme",
        group: palette.switch,
        name: isDark ? themes.toLight : themes.toDark,
        run: () => choose({ theme: isDark ? "light" : "dark" }),
      },
    ];
  }, [me, text, language, theme, choose, navigate]);
}

export function CommandPalette({ me }: { me: Me }) {
  const { text } = useWords();
  const commands = useCommands(me);
  const [isOpen, setIsOpen] = useState(false);
  const [words, setWords] = useState("");
  const [chosen, setChosen] = useState(0);

  useEffect(() => {
    const open = () => {
      setWords("");
      setChosen(0);
      setIsOpen(true);
    };
    const onKey = (event: globalThis.KeyboardEvent) => {
      if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "k") return;
      event.preventDefault();
      open();
    };
    window.addEventListener(OPEN, open);
    window.addEventListener("keydown", onKey);
    return () => {
      window.removeEventListener(OPEN, open);
      window.removeEventListener("keydown", onKey);
    };
  }, []);

  const wanted = words.trim().toLowerCase();
  const found = commands.filter((command) =>
    `${command.group} ${command.name} ${command.id}`.toLowerCase().includes(wanted),
  );
  const run = (command: Command | undefined) => {
    if (!command) return;
    setIsOpen(false);
    command.run();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined && found.length > 0) {
      event.preventDefault();
      setChosen((chosen + step + found.length) % found.length);
    }
    if (event.key === "Enter" && !event.nativeEvent.isComposing) run(found[chosen]);
  };
  return (
    <Modal
      open={isOpen}
      onCancel={() => setIsOpen(false)}
      footer={null}
      closable={false}
      width={520}
      destroyOnHidden
      title={<span className="visually-hidden">{text.shell.palette.open}</span>}
      styles={{ header: { margin: 0 } }}
    >
      <Input
        autoFocus
        size="large"
        role="combobox"
        aria-expanded
        aria-controls="palette-list"
        aria-activedescendant={found[chosen] ? `palette-${chosen}` : undefined}
        aria-label={text.shell.palette.placeholder}
        placeholder={text.shell.palette.placeholder}
        value={words}
        onChange={(event) => {
          setWords(event.target.value);
          setChosen(0);
        }}
        onKeyDown={onKeyDown}
      />
      <div
        id="palette-list"
        role="listbox"
        aria-label={text.shell.palette.open}
        className="palette-list"
      >
        {found.map((command, index) => (
          <div
            key={command.id}
            id={`palette-${index}`}
            role="option"
            aria-selected={index === chosen}
            className={index === chosen ? "palette-item chosen" : "palette-item"}
            onMouseMove={() => setChosen(index)}
            onClick={() => run(command)}
          >
            <span>{command.name}</span>
            <span className="muted small">{command.group}</span>
          </div>
        ))}
        {found.length === 0 && <p className="muted">{text.shell.palette.none}</p>}
      </div>
      <div className="muted small">{text.shell.palette.keys}</div>
    </Modal>
  );
}
