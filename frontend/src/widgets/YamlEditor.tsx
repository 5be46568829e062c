// A YAML editor: CodeMirror, made when shown and disposed of when gone.

import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { yaml } from "@codemirror/lang-yaml";
import { HighlightStyle, syntaxHighlighting } from "@codemirror/language";
import { EditorState } from "@codemirror/state";
import { EditorView, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { useEffect, useRef } from "react";

const COLOURS = HighlightStyle.define([
  { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: "var(--ember)" },
  { tag: [tags.string, tags.content], color: "var(--ink)" },
  { tag: [tags.number, tags.bool, tags.null], color: "var(--ember-2)" },
  { tag: tags.comment, color: "var(--muted)" },
]);

const LOOK = EditorView.theme({
  "&": {
    backgroundColor: "var(--sunken)",
    color: "var(--ink)",
    border: "1px solid var(--line)",
    borderRadius: "6px",
  },
  ".cm-content": { fontFamily: "var(--mono)", fontSize: "13px", caretColor: "var(--ink)" },
  ".cm-gutters": { backgroundColor: "transparent", color: "var(--muted)", border: "none" },
  ".cm-cursor": { borderLeftColor: "var(--ink)" },
});

interface Props {
  /** The text to begin with; the editor owns it from then on. */
  start: string;
  /** Text from outside (a preset, a mend) that replaces what is shown; null while there is none. */
  outside: string | null;
  onChange: (value: string) => void;
  label: string;
}

export function YamlEditor({ start, outside, onChange, label }: Props) {
  const frame = useRef<HTMLDivElement>(null);
  const editor = useRef<EditorView | null>(null);
  const latest = useRef({ start, onChange });
  useEffect(() => {
    latest.current = { start, onChange };
  }, [start, onChange]);
  // What a person types never comes back here: by the time React has drawn it, they may have typed on.
  useEffect(() => {
    const view = editor.current;
    if (view && outside !== null) {
      view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: outside } });
    }
  }, [outside]);

  useEffect(() => {
    if (!frame.current) return;
    const view = new EditorView({
      parent: frame.current,
      state: EditorState.create({
        doc: latest.current.start,
        extensions: [
          lineNumbers(),
          history(),
          keymap.of([...defaultKeymap, ...historyKeymap, indentWithTab]),
          yaml(),
          syntaxHighlighting(COLOURS),
          LOOK,
          EditorView.lineWrapping,
          EditorView.contentAttributes.of({ "aria-label": label }),
          EditorView.updateListener.of((update) => {
            if (update.docChanged) latest.current.onChange(update.state.doc.toString());
          }),
        ],
      }),
    });
    editor.current = view;
    return () => {
      view.destroy();
      editor.current = null;
    };
  }, [label]);

  return <div ref={frame} />;
}
