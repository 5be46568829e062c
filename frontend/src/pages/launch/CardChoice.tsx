// One of a few, each a card with a sentence: the stage, the method.

interface Props {
  id: string;
  name: string;
  value: unknown;
  options: readonly string[];
  words: Readonly<Record<string, { title: string; text: string }>>;
  onChange: (value: string) => void;
}

export function CardChoice({ id, name, value, options, words, onChange }: Props) {
  return (
    <div
      className="choices few"
      id={id}
      role="radiogroup"
      aria-labelledby={`${id}-label`}
      tabIndex={-1}
    >
      {options.map((option) => (
        <label key={option} className="choice">
          <input
            type="radio"
            name={name}
            checked={option === value}
            onChange={() => onChange(option)}
          />
          <b>{words[option]?.title ?? option}</b>
          <span>{words[option]?.text}</span>
        </label>
      ))}
    </div>
  );
}
