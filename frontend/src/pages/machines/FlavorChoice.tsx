// The flavors for a machine as cards: what each holds, what it costs, and why one cannot be had now.

import type { MachineFlavor, MachineOptions } from "../../api/shapes";
import { useWords } from "../../i18n";
import { sayFlavor } from "../../i18n/told";
import { useDisks } from "./useDisks";

interface Props {
  options: MachineOptions;
  image: string;
  value: string;
  onChange: (name: string) => void;
}

export function flavorsFor(options: MachineOptions, image: string): MachineFlavor[] {
  const allowed = options.images.find((one) => one.name === image)?.flavors ?? [];
  return options.flavors.filter((one) => allowed.length === 0 || allowed.includes(one.name));
}

export function FlavorChoice({ options, image, value, onChange }: Props) {
  const { text, format, language } = useWords();
  const words = text.launch.flavor;
  const sayDisks = useDisks();
  return (
    <fieldset className="choices" id="field-flavor">
      <legend className="visually-hidden">{text.machines.form.flavor}</legend>
      {flavorsFor(options, image).map((flavor) => (
        <label key={flavor.name} className="choice">
          <input
            type="radio"
            name="flavor"
            checked={flavor.name === value}
            onChange={() => onChange(flavor.name)}
          />
          <b>{sayFlavor(language, flavor.title)}</b>
          <span className="num">
            {words.cores(flavor.cores)} · {format.bytes(flavor.memory_bytes)}
          </span>
          {flavor.device_percent < 100 ? (
            <span>{text.machines.form.share(flavor.device_percent)}</span>
          ) : (
            flavor.num_devices > 0 && (
              <span>{words.devices(flavor.num_devices, flavor.device_name ?? "GPU")}</span>
            )
          )}
          <span className="num small">{sayDisks(flavor)}</span>
          <span className="num">
            {text.pointsPerHour(format.points(flavor.price_mpoints_per_hour))}
          </span>
          {!flavor.is_available && <span>{words.why[flavor.why_not ?? ""] ?? words.away}</span>}
        </label>
      ))}
    </fieldset>
  );
}
