// Which fields a launch form asks for.

import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { queries } from "../../api/queries";
import type { SpecInfo } from "../../api/shapes";
import { readSchema, type SpecField } from "../../stores/specSchema";
import { numProcesses } from "../../stores/trainForm";
import type { LaunchForm } from "./useLaunchForm";

/** Of a new model its shape is asked for, and no base; how work is spread only where there are several GPUs, or it is spread already. */
export function useFields(info: SpecInfo, { spec, flavor }: LaunchForm): readonly SpecField[] {
  const flavors = useQuery(queries.flavors());
  const chosen = flavors.data?.find(({ name }) => name === flavor);
  const isSpread = (chosen?.num_devices ?? 0) > 1 || numProcesses(spec) > 1;
  const isNew = Boolean(spec.from_scratch);
  return useMemo(
    () =>
      readSchema(info.schema)
        .filter(({ name }) => name !== "parallel" || isSpread)
        .filter(({ name }) => name !== (isNew ? "model" : "from_scratch"))
        .map((field) =>
          field.name === "parallel"
            ? { ...field, children: field.children.map((one) => ({ ...one, isAdvanced: false })) }
            : field,
        ),
    [info, isSpread, isNew],
  );
}
