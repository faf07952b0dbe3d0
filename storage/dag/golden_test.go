package dag_test

const (
	goldenSmall    = "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq"
	goldenLarge    = "bafyreih2h6rp5pmsbw4on57as46hfnspwbxnxfcqvoxx7erz2pb4c7x5c4"
	goldenDir      = "bafyreicozivw3ikks4hyezrwbvwznf2bbxjo4hhis4mv5ghmflfgehuure"
	goldenDirBytes = "a3616582844161d82a58250001711220fa3fa2febd920db8e6f7e0973c72b64fb06edb9450abaf7f9239d3c3c17efd171a00300000f4" +
		"844262ffd82a582500015512202cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b982405f4616b6364697261731a00300005"
)
