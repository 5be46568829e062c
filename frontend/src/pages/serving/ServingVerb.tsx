// On a model's page: how it is served, for its owner and for operators.

import { Button } from "antd";
import { useState } from "react";
import { SettingOutlined } from "../../widgets/icons";
import { SettingsDialog } from "./SettingsDialog";
import { useServingWords } from "./words";

export function ServingVerb({ model }: { model: string }) {
  const words = useServingWords().settings;
  const [isOpen, setIsOpen] = useState(false);
  return (
    <>
      <Button icon={<SettingOutlined />} onClick={() => setIsOpen(true)}>
        {words.serving}
      </Button>
      <SettingsDialog model={isOpen ? model : null} onClose={() => setIsOpen(false)} />
    </>
  );
}
