// The same spec as YAML, editable: what can be read changes the form, what cannot says in which line.

import { Alert } from "antd";
import { useState } from "react";
import type { SpecValue } from "../../api/shapes";
import { useWords } from "../../i18n";
import { fromYaml, toYaml } from "../../stores/specYaml";
import { YamlEditor } from "../../widgets/YamlEditor";

interface Props {
  spec: SpecValue;
  onChange: (spec: SpecValue) => void;
}

const same = (a: SpecValue, b: SpecValue) => JSON.stringify(a) === JSON.stringify(b);

export function YamlPart({ spec, onChange }: Props) {
  const { text } = useWords();
  const [typed, setTyped] = useState(() => toYaml(spec));
  const reading = fromYaml(typed);
  // A mend or a preset changed the spec from outside: show that. A half-typed line is left alone.
  const outside = reading.spec && !same(reading.spec, spec) ? toYaml(spec) : null;

  const take = (value: string) => {
    setTyped(value);
    const next = fromYaml(value);
    if (next.spec && !same(next.spec, spec)) onChange(next.spec);
  };
  const { problem } = reading;
  const words =
    problem?.message === "not_a_mapping" ? text.launch.yamlNotMapping : problem?.message;
  return (
    <>
      <YamlEditor start={typed} outside={outside} onChange={take} label={text.launch.yamlLabel} />
      {problem && (
        <Alert
          type="error"
          showIcon
          style={{ marginTop: 10 }}
          title={text.launch.yamlProblem(problem.line, words ?? "")}
        />
      )}
    </>
  );
}
