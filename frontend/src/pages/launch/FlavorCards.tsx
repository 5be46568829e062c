// The flavors as cards, with what they hold and what they cost; one that no node can hold says why.

import { useQuery } from "@tanstack/react-query";
import { useEffect } from "react";
import { queries } from "../../api/queries";
import { useWords } from "../../i18n";
import { sayFlavor } from "../../i18n/told";
import { Loaded } from "../../widgets/Loaded";

interface Props {
  value: string;
  onChange: (name: string) => void;
  error: string | undefined;
}

export function FlavorCards({ value, onChange, error }: Props) {
  const { text, format, language } = useWords();
  const words = text.launch.flavor;
  const flavors = useQuery(queries.flavors());
  const first = flavors.data?.find((flavor) => flavor.is_available) ?? flavors.data?.[0];
  const isKnown = flavors.data?.some((flavor) => flavor.name === value) ?? true;
  useEffect(() => {
    if (first && (!value || !isKnown)) onChange(first.name);
  }, [first, value, isKnown, onChange]);
  return (
    <Loaded query={flavors}>
      {(list) =>
        list.length === 0 ? (
          <p className="muted">{words.none}</p>
        ) : (
          <fieldset className="choices" id="field-flavor" tabIndex={-1}>
            <legend className="visually-hidden">{text.jobs.flavor}</legend>
            {list.map((flavor) => (
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
                {flavor.num_devices > 0 && (
                  <span>{words.devices(flavor.num_devices, flavor.device_name ?? "GPU")}</span>
                )}
                <span className="num">
                  {text.pointsPerHour(format.points(flavor.price_mpoints_per_hour))}
                </span>
                {!flavor.is_available && (
                  <span>{words.why[flavor.why_not ?? ""] ?? words.away}</span>
                )}
              </label>
            ))}
            {error !== undefined && (
              <div className="field-error" role="alert">
                {error}
              </div>
            )}
          </fieldset>
        )
      }
    </Loaded>
  );
}
