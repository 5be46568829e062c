// The image a script runs in, one of those that dev machines are made of.

import { Select } from "antd";
import { useQuery } from "@tanstack/react-query";
import { machineQueries } from "../../api/machineQueries";
import { useWords } from "../../i18n";

interface Props {
  id: string;
  value: unknown;
  onChange: (value: unknown) => void;
  hasError: boolean;
}

export function ImageField({ id, value, onChange, hasError }: Props) {
  const { text } = useWords();
  const { data } = useQuery(machineQueries.options());
  const images = (data?.images ?? []).filter((image) => !image.is_mine); // those lie on one node
  return (
    <Select
      id={id}
      style={{ width: "100%" }}
      status={hasError ? "error" : undefined}
      aria-describedby={`${id}-help`}
      value={typeof value === "string" ? value : ""}
      onChange={onChange}
      options={[
        { value: "", label: text.launch.firstImage },
        ...images.map((image) => ({ value: image.name, label: image.title })),
      ]}
    />
  );
}
