// The flavor of a model's server: the one that all servers have, or another with what it holds and costs.

import { Select } from "antd";
import type { ServingFlavor } from "../../api/shapes";
import { useWords } from "../../i18n";
import { sayFlavor } from "../../i18n/told";
import { useServingWords } from "./words";

interface Props {
  flavors: readonly ServingFlavor[];
  value: string | null;
  onChange: (name: string | null) => void;
  error: string | undefined;
}

const USUAL = ""; // a Select has no null among its values

export function FlavorChoice({ flavors, value, onChange, error }: Props) {
  const { text, format, language } = useWords();
  const words = useServingWords().settings;
  const describe = (flavor: ServingFlavor): string => {
    const { cores, memory_bytes, num_devices, price_mpoints_per_hour, is_available } = flavor;
    return [
      text.launch.flavor.cores(cores),
      format.bytes(memory_bytes),
      ...(num_devices > 0 ? [words.gpus(num_devices)] : []),
      text.pointsPerHour(format.points(price_mpoints_per_hour)),
      ...(is_available ? [] : [words.away]),
    ].join(" · ");
  };
  const options = flavors.map((flavor) => ({
    value: flavor.is_usual ? USUAL : flavor.name,
    label: flavor.is_usual ? words.usual : sayFlavor(language, flavor.title),
    note: describe(flavor),
  }));
  options.sort((one, other) => Number(other.value === USUAL) - Number(one.value === USUAL));
  const chosen = options.find((option) => option.value === (value ?? USUAL));
  return (
    <div className="field" style={{ marginBottom: 16 }}>
      <label htmlFor="field-flavor">{words.flavor}</label>
      <Select
        id="field-flavor"
        style={{ width: "100%" }}
        status={error === undefined ? undefined : "error"}
        aria-describedby="field-flavor-help"
        value={value ?? USUAL}
        onChange={(name: string) => onChange(name === USUAL ? null : name)}
        options={options}
        optionRender={(option) => (
          <div>
            {option.label}
            <div className="muted small num">{option.data.note}</div>
          </div>
        )}
      />
      {error !== undefined && (
        <div className="field-error" role="alert">
          {error}
        </div>
      )}
      <div className="field-help" id="field-flavor-help">
        {words.flavorHelp} {chosen && <span className="num">{chosen.note}</span>}
      </div>
    </div>
  );
}
