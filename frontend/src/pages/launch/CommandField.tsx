// The command of a script as one line, read by the shell's quoting into the words that the spec holds.

import { Input } from "antd";
import { useState } from "react";
import { useWords } from "../../i18n";
import { joinWords, splitWords } from "../../stores/shellWords";

interface Props {
  id: string;
  value: unknown;
  onChange: (value: unknown) => void;
  hasError: boolean;
}

const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);

export function CommandField({ id, value, onChange, hasError }: Props) {
  const { text } = useWords();
  const given = Array.isArray(value) ? value.map(String) : [];
  const [line, setLine] = useState(() => joinWords(given));
  const read = splitWords(line);
  return (
    <>
      <Input.TextArea
        id={id}
        className="mono"
        autoSize={{ minRows: 1, maxRows: 8 }}
        spellCheck={false}
        status={hasError || !read ? "error" : undefined}
        aria-describedby={`${id}-help`}
        placeholder="python train.py"
        value={line}
        onChange={(event) => {
          setLine(event.target.value);
          const words = splitWords(event.target.value);
          if (words && !same(words, given)) onChange(words);
        }}
      />
      {!read && (
        <div className="field-error" role="alert">
          {text.launch.openQuote}
        </div>
      )}
    </>
  );
}
