// A page that threw: the rest of the dashboard stays, and the person learns that nothing was lost.

import { Button } from "antd";
import { useRouteError } from "react-router";
import { useWords } from "../../i18n";
import { Fault } from "../../widgets/Fault";
import { PageHead } from "../../widgets/PageHead";

export function PageFault() {
  const { text } = useWords();
  const error = useRouteError();
  return (
    <div className="page">
      <PageHead
        title={text.error.pageTitle}
        lead={text.error.pageText}
        actions={
          <Button type="primary" onClick={() => location.reload()}>
            {text.error.reload}
          </Button>
        }
      />
      <Fault error={error} />
    </div>
  );
}
